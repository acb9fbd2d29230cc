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
from .docs_page import docs_page_routes
from .documents import document_routes
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
from .route_documents import describe
from .secret_rotation import secret_rotation_routes


def create_app(deps: ApiDependencies) -> FastAPI:
    """An ASGI app. It owns nothing that has to be closed; handlers that block run in threads."""
    app = FastAPI(
        title="hookstream",
        version=version("hookstream"),
        description="Register the endpoints that hookstream delivers events to.",
        openapi_url=None,  # `document_routes` serve it, with what a deployment's events are
        redirect_slashes=False,
        generate_unique_id_function=lambda route: route.name,
    )
    routers = [
        made_routes(deps)
        for made_routes in (
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
    routers += [document_routes(app, deps), docs_page_routes()]
    limits = deps.limits
    by_path = {"/events": limits.max_events_body_bytes}
    routes = [route for router in routers for route in router.routes if isinstance(route, APIRoute)]
    for route in routes:
        describe(route, max_body_bytes=by_path.get(route.path, limits.max_body_bytes))
    for router in routers:
        app.include_router(router)
    app.add_middleware(BodyLimit, elsewhere=limits.max_body_bytes, by_path=by_path)
    app.add_middleware(RateLimitHeaders)
    problems.install(app, routes)
    return app
