"""The site controller: reads the cabinet, obeys signed commands within its own limits, returns to float by itself."""
