"""Who gets which model: splits, shadows, fall-back chains, canaries and routes by domain."""
