/** Days for which each of the two booking queues keeps a message. It imports nothing, so that commands start fast. */
export const messageRetentionDays = 14;
