from keras_negrec.optimizers.lazy_adam import LazyAdam as LazyAdam
