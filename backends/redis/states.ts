/** What scripts reply of a claim. */
export const STATE = {
  granted: 1,
  contended: 0,
  stolen: -1,
  revoked: -2,
  expired: -3,
  /** The attempt came too late to enter. */
  late: -4,
  /** There is so much to take out of the queue first that it has to be asked again. */
  unsettled: -5,
} as const;
