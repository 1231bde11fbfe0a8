"""How far a judge can be believed: its agreement with people, its biases, and win rates corrected for its errors."""
