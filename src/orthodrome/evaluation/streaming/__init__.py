"""All probes against all of a gallery, in bounded memory: scores are made block by block and never all stored."""
