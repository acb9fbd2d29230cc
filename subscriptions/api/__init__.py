"""The thin API through which integrators register endpoints."""

from .app import create_app
from .dependencies import ApiDependencies, ApiLimits, MetricsPage, ReadinessCheck
from .token_rates import Rate

__all__ = ["ApiDependencies", "ApiLimits", "MetricsPage", "Rate", "ReadinessCheck", "create_app"]
