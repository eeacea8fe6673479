from .reaching import cost_to_reach as cost_to_reach
from .stored import Results as Results, label as label, milestone as milestone, spread as spread
