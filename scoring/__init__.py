"""Words and ratings in, a `Reading` out: sentiment, themes, intents, bands, language.

Pure: a reading depends on the response and the taxonomies, never on time or on other responses.
`reading.py` is what comes out; `reader.py` puts the scorers together.
"""
