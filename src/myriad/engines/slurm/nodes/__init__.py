"""Who is there and well, what keeps one out, how one comes back."""
