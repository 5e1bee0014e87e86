/** A scenario and what has happened in it. */
import type { Plan, UserAction } from './user-actions.ts';
import type { World } from './world.ts';

/** What was asked of the service and what it said to it: what must come true is judged from this alone. */
export type Truth = {
  plan: Plan;
  /** What a booking's backend asked for and was answered as done, in this order. */
  applied: Map<string, UserAction[]>;
  /** Actions of payments that were delivered. */
  delivered: UserAction[];
  /** Bookings whose event its owner has deleted by hand. */
  deletedByHand: Set<string>;
  /** Bookings whose event its owner has moved to another calendar. */
  movedByHand: Set<string>;
  deletedCalendars: Set<string>;
  /** Changes of the accounts of users that were answered as done. */
  bindings: (Extract<UserAction, { do: 'bind' | 'unbind' }> & { from: number; to: number })[];
  /** When the webhook had accepted a payment's event, and when the backend's request was done: milliseconds. */
  times: Map<UserAction, { from: number; to: number }>;
  /** Bookings that an ordinary action should have freed and did not, as violations; and how many were checked. */
  stuck: string[];
  freed: number;
  /** Bookings whose PUT was repeated in the end. */
  renewed: Set<string>;
  /** When faults stopped: epoch seconds. */
  calmAt: number;
};

export type PlayedScenario = { world: World; truth: Truth };

/** Whether a user's connection is on record as working. A grant that is dead at Google is not known to be so yet. */
export function isConnected({ world, truth }: PlayedScenario, user: string): boolean {
  const connection = world.connections().find(({ userId }) => userId === user);
  const account = truth.plan.accounts[user];
  const grant = [...world.google.state.grants.values()].find(({ sub }) => sub === account);
  return connection?.status === 'active' && grant !== undefined;
}
