from .reaching import cost_to_reach as cost_to_reach
from .stored import (
    DISTANCES as DISTANCES,
    Point as Point,
    Results as Results,
    curve as curve,
    first_calls as first_calls,
    images_seen as images_seen,
    label as label,
    last_stages as last_stages,
    mean_curve as mean_curve,
    milestone as milestone,
    petaflops as petaflops,
    seeds as seeds,
    spread as spread,
)
