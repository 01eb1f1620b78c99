"""When a clock warns: `75%` of its time, `3 hours before`, `2 working days before`, as written in a rule or a pack."""

from rules.length import Length, parse_length


def check_warning(text: str) -> Length | float:
    """The share (above 0, below 1) or the length that *text* names. Raises ValueError."""
    text = text.strip()
    if text.endswith("%"):
        share = float(text[:-1]) / 100
        if not 0 < share < 1:
            raise ValueError(text)
        return share
    return parse_length(text.removesuffix("before").strip())
