"""Policies as folders that LeRobot loads by its plug-in `lerobot_policy_isd`, read and written without LeRobot."""
