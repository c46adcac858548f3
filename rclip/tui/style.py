"""How the interface looks: two calm themes that leave the colours to the photos."""

from textual.theme import Theme

THEMES = (
    Theme(
        "rclip-dark",
        primary="#8ab4d8",
        accent="#d8a657",
        success="#a9b665",
        error="#ea6962",
        warning="#d8a657",
        foreground="#d4d4d4",
        background="#161616",
        surface="#222222",
        panel="#1c1c1c",
        dark=True,
    ),
    Theme(
        "rclip-light",
        primary="#2f6690",
        accent="#a05a00",
        success="#4a6b00",
        error="#b3261e",
        warning="#a05a00",
        foreground="#222222",
        background="#fafafa",
        surface="#eeeeee",
        panel="#f3f3f3",
        dark=False,
    ),
)

CSS = """
Screen { background: $background; }
#head { height: 3; padding: 1 2 0 2; }
#mark { color: $accent; width: 2; text-style: bold; }
#query { width: 1fr; background: $background; }
#query:focus { background: $background; }
#terms { height: 1; padding: 0 2; link-style: none; link-color: $foreground; margin: 0 0 1 0; }
#body { height: 1fr; padding: 0 1; }
#gallery { width: 1fr; height: 1fr; }
#grid { layout: grid; grid-gutter: 0; width: 1fr; height: 1fr; }
Tile { text-wrap: nowrap; }
#detail { width: 1fr; height: 1fr; padding: 0 1; }
#large { width: 1fr; height: 1fr; content-align: center middle; }
#facts { width: 34; padding: 0 0 0 3; scrollbar-size: 1 1; }
#filters { width: 38; height: 1fr; padding: 0 2 0 1; margin: 0 1 0 0; scrollbar-size: 1 1; }
#filters .heading { text-style: bold; color: $accent; margin: 0 0 1 0; }
#filters Horizontal { height: 1; margin: 0 0 1 0; }
#filters Horizontal Label { color: $foreground-muted; width: 11; }
#filters Input { background: $surface; width: 1fr; }
#filters Input.wrong { color: $text-error; }
#filters Checkbox { margin: 0 0 1 0; background: $background; }
#facets { height: auto; background: $background; border: none; padding: 0; }
#filters, #facts, #help, #facets {
    scrollbar-color: $surface; scrollbar-color-hover: $accent; scrollbar-color-active: $accent;
    scrollbar-background: $background; scrollbar-background-hover: $background;
    scrollbar-background-active: $background;
}
#foot { height: 1; padding: 0 2; }
#status { height: 1; }
#prompt { height: 1; }
#prompt-label { color: $accent; padding: 0 1 0 0; }
#answer { width: 1fr; background: $surface; }
#help { padding: 1 3; }
#hints { height: 1; padding: 0 2; text-wrap: nowrap; link-style: none; link-color: $foreground; }
"""
