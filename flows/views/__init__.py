"""Show a run: progress, Prefect artifacts, charts, the report."""
