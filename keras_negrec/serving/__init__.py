from keras_negrec.serving.export import export as export
from keras_negrec.serving.recommend import Recommendation as Recommendation
from keras_negrec.serving.recommend import recommend as recommend
