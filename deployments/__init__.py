"""Deployments: the flows as a Prefect server schedules them, their settings as a form."""
