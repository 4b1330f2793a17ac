"""How networks learn: one loop, a learner for each way of learning, and what watches over them."""
