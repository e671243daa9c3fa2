"""What is not as expected at a site, with the evidence: regression residuals scored over the whole fleet."""
