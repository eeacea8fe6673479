from .stored import Results as Results, label as label, milestone as milestone, spread as spread
