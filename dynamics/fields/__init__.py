"""Vector fields: of the full network, of decoupled modes, and predictors that are functions of the encoder."""
