from keras_negrec.models.bert4rec import BERT4Rec as BERT4Rec
from keras_negrec.models.build_model import build_model as build_model
from keras_negrec.models.caser import Caser as Caser
from keras_negrec.models.gru4rec import GRU4Rec as GRU4Rec
from keras_negrec.models.popularity import Popularity as Popularity
from keras_negrec.models.sasrec import SASRec as SASRec
from keras_negrec.models.session_recommender import SessionRecommender as SessionRecommender
