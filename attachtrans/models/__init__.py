"""Model definitions (.emd, .dlpk), weights and networks."""
