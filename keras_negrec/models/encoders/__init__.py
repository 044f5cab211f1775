"""Encoders: a history in, vectors at the positions asked for out."""

from keras_negrec.models.encoders.bert4rec import BERT4Rec
from keras_negrec.models.encoders.caser import Caser
from keras_negrec.models.encoders.encoder import Encoder
from keras_negrec.models.encoders.gru4rec import GRU4Rec
from keras_negrec.models.encoders.hstu import HSTU
from keras_negrec.models.encoders.sasrec import SASRec

__all__ = ["ENCODERS", "HSTU", "BERT4Rec", "Caser", "Encoder", "GRU4Rec", "SASRec"]


def __dir__():
    return __all__


# The names that `build_model` takes.
ENCODERS = {kind.__name__.lower(): kind for kind in (BERT4Rec, Caser, GRU4Rec, HSTU, SASRec)}
