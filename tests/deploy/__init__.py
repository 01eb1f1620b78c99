"""The files that deploy Tocsin, held to their form and run as far as that goes without a Docker engine."""
