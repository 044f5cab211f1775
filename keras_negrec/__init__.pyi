from . import callbacks as callbacks
from . import data as data
from . import evaluation as evaluation
from . import layers as layers
from . import losses as losses
from . import metrics as metrics
from . import models as models
from . import optimizers as optimizers
from . import serving as serving
from .evaluation import compare as compare
from .evaluation import evaluate as evaluate
from .models import build_model as build_model
from .models import from_preset as from_preset
from .models import grow_vocabulary as grow_vocabulary
from .models import update as update
from .serving import export as export
from .serving import recommend as recommend

__version__: str
