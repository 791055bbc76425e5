"""The window: a Streamlit page to try one scan, and one to look through a finished run."""
