"""Update rates of other libraries under the same conditions as ours: environment, workers, our online loop."""
