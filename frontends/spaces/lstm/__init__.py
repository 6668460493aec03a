"""Language models of LSTM layers."""
