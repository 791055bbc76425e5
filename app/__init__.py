"""The window: Streamlit pages to try a scan and to look through a finished run."""
