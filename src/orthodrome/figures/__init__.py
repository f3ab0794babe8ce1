"""Pictures: each is one function that takes data and returns a matplotlib Figure (extra ``plots``)."""
