"""What load balancers and Prometheus ask for. No token: there is nothing to see but names of parts.

Answered in the event loop, from what is known: whatever the handlers' threads wait for, these wait for nothing.
"""

from __future__ import annotations

from http import HTTPStatus

from fastapi import APIRouter, Response

from .bodies import HealthAnswer
from .dependencies import ApiDependencies


def health_routes(deps: ApiDependencies) -> APIRouter:
    """`/healthz`, `/readyz`, `/metrics`."""
    router = APIRouter(tags=["health"])

    @router.head("/healthz", include_in_schema=False)
    @router.get("/healthz")
    async def healthz() -> HealthAnswer:
        """Say that the process runs. It asks no other part: restarting this one would not mend those."""
        return HealthAnswer(status="ok")

    @router.head("/readyz", include_in_schema=False)
    @router.get("/readyz", responses={503: {"model": HealthAnswer, "description": "a component is not ready"}})
    async def readyz(response: Response) -> HealthAnswer:
        """Say whether a request can be served now, and if not, what is missing."""
        checks = {name: check() or "ok" for name, check in deps.readiness.items()}
        ready = all(result == "ok" for result in checks.values())
        if not ready:
            response.status_code = HTTPStatus.SERVICE_UNAVAILABLE
        return HealthAnswer(status="ready" if ready else "not ready", checks=checks)

    @router.head("/metrics", include_in_schema=False)
    @router.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
    async def metrics() -> Response:
        """Show the metrics of this process to Prometheus."""
        page = deps.metrics()
        return Response(page.content, media_type=page.content_type)

    return router
