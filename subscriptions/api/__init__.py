"""The thin API through which integrators register endpoints."""

from .app import create_app
from .dependencies import ApiDependencies, ApiLimits, MetricsPage, ReadinessCheck

__all__ = ["ApiDependencies", "ApiLimits", "MetricsPage", "ReadinessCheck", "create_app"]
