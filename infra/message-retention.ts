/** Days for which each of the two booking queues keeps a message. Nothing is imported here, so that commands start fast. */
export const messageRetentionDays = 14;
