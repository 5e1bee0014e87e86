import { Hono } from 'hono';
import type { SimulatorEnv } from './faults.ts';
import type { GoogleState } from './state.ts';

export function calendarPages(_state: GoogleState, _baseUrl: () => string): Hono<SimulatorEnv> {
  return new Hono<SimulatorEnv>();
}
