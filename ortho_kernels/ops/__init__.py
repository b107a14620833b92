"""One file per op: public function, torch schema, fake, backend order, gradient - in that order."""
