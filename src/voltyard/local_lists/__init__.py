"""The list of cards that each charger keeps for times without us, held in step with its location's cards."""
