"""Models, their parts, and baselines."""

from keras_negrec.models.baselines.item_cooccurrence import ItemCooccurrence
from keras_negrec.models.baselines.matrix_factorization import MatrixFactorization
from keras_negrec.models.baselines.popularity import Popularity
from keras_negrec.models.baselines.weighted_hybrid import WeightedHybrid
from keras_negrec.models.bert4rec import BERT4Rec
from keras_negrec.models.build_model import build_model
from keras_negrec.models.caser import Caser
from keras_negrec.models.ensemble import Ensemble
from keras_negrec.models.grow_vocabulary import grow_vocabulary
from keras_negrec.models.gru4rec import GRU4Rec
from keras_negrec.models.sasrec import SASRec
from keras_negrec.models.session_recommender import SessionRecommender

__all__ = [
    "BERT4Rec",
    "Caser",
    "Ensemble",
    "GRU4Rec",
    "ItemCooccurrence",
    "MatrixFactorization",
    "Popularity",
    "SASRec",
    "SessionRecommender",
    "WeightedHybrid",
    "build_model",
    "grow_vocabulary",
]


def __dir__():
    return __all__
