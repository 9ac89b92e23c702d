"""An HTTP service that keeps {{ human_plural }}."""

__version__ = "0.1.0"
