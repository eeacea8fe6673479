from .reaching import cost_to_reach as cost_to_reach
from .stored import (
    DISTANCES as DISTANCES,
    Point as Point,
    Results as Results,
    batch_size as batch_size,
    curve as curve,
    first_calls as first_calls,
    label as label,
    last_stages as last_stages,
    mean_curve as mean_curve,
    milestone as milestone,
    petaflops as petaflops,
    seeds as seeds,
    spread as spread,
)
