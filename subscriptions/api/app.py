"""The API, put together from what it is given."""

from __future__ import annotations

from importlib.metadata import version

from fastapi import FastAPI
from fastapi.routing import APIRoute

from . import problems
from .audit import audit_routes
from .body_limit import BodyLimit
from .dead_letters import dead_letter_routes
from .deliveries import attempt_routes, delivery_routes
from .dependencies import ApiDependencies
from .documents import install_documents
from .endpoint_actions import endpoint_action_routes
from .endpoint_attempts import endpoint_attempt_routes
from .endpoints import endpoint_routes
from .event_types import event_type_routes
from .events import event_routes
from .health import health_routes
from .hooks import hook_routes
from .portal_links import portal_link_routes
from .rate_limit import RateLimitHeaders
from .registration import registration_routes
from .replays import replay_routes
from .secret_rotation import secret_rotation_routes


def create_app(deps: ApiDependencies) -> FastAPI:
    """An ASGI app. It owns nothing that has to be closed; handlers that block run in threads."""
    app = FastAPI(
        title="hookstream",
        version=version("hookstream"),
        description="Register the endpoints that hookstream delivers events to.",
        openapi_url=None,  # `install_documents` serves it, with what a deployment's events are
        redirect_slashes=False,
    )
    routers = [
        routes(deps)
        for routes in (
            registration_routes,
            hook_routes,
            secret_rotation_routes,
            endpoint_action_routes,
            dead_letter_routes,
            attempt_routes,
            delivery_routes,
            endpoint_routes,
            endpoint_attempt_routes,
            event_routes,
            event_type_routes,
            replay_routes,
            audit_routes,
            portal_link_routes,
            health_routes,
        )
    ]
    for router in routers:
        app.include_router(router)
    limits = deps.limits
    app.add_middleware(BodyLimit, elsewhere=limits.max_body_bytes, by_path={"/events": limits.max_events_body_bytes})
    app.add_middleware(RateLimitHeaders)
    problems.install(app, [route for router in routers for route in router.routes if isinstance(route, APIRoute)])
    install_documents(app, deps)
    return app
