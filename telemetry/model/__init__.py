"""What sites are and what they report: values only, standard library only."""
