from .growth import measure_growth as measure_growth
from .oracle_schedules import transfer_errors as transfer_errors
from .setting import GrowthSetting as GrowthSetting
from .timing import median_seconds as median_seconds
