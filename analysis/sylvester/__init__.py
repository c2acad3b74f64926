"""The Sylvester equation behind the predictor: which encoders a predictor can hold."""
