"""Models, their exchangeable parts, and baselines."""

from keras_negrec.models import encoders, feedback, objectives
from keras_negrec.models.baselines.counts import ItemCooccurrence, Popularity
from keras_negrec.models.baselines.matrix_factorization import MatrixFactorization
from keras_negrec.models.build_model import build_model
from keras_negrec.models.encoders import HSTU, BERT4Rec, Caser, Encoder, GRU4Rec, SASRec
from keras_negrec.models.ensemble import Ensemble
from keras_negrec.models.feedback import FeedbackTerm
from keras_negrec.models.grow_vocabulary import grow_vocabulary
from keras_negrec.models.objectives import Objective
from keras_negrec.models.preset import from_preset
from keras_negrec.models.recipes import RECIPES
from keras_negrec.models.session_recommender import SessionRecommender
from keras_negrec.models.update import update
from keras_negrec.models.weighted_hybrid import WeightedHybrid
from keras_negrec.models.with_feedback import with_feedback

__all__ = [
    "HSTU",
    "RECIPES",
    "BERT4Rec",
    "Caser",
    "Encoder",
    "Ensemble",
    "FeedbackTerm",
    "GRU4Rec",
    "ItemCooccurrence",
    "MatrixFactorization",
    "Objective",
    "Popularity",
    "SASRec",
    "SessionRecommender",
    "WeightedHybrid",
    "build_model",
    "encoders",
    "feedback",
    "from_preset",
    "grow_vocabulary",
    "objectives",
    "update",
    "with_feedback",
]


def __dir__():
    return __all__
