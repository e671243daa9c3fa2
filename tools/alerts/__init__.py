"""What will happen if nobody acts: predictive alerts from forecasts and state, with countdowns, told as incidents."""
