"""The operators' console: Streamlit pages that speak HTTP to the API and import no other folder of ours."""
