// Tells the collector what a person does with their page: what they saw, clicked and watched. This is what the next page
// learns from.
import { Outbox, randomId } from './outbox';

export type Interaction =
  | { impression: { tracking_token: string; title_id: string; row_id: string; position: number } }
  | { click: { tracking_token: string; title_id: string } }
  | { view_started: { title_id: string; session_id: string; tracking_token: string } }
  | { view_progress: { title_id: string; session_id: string; watched_fraction: number } }
  | { view_finished: { title_id: string; session_id: string; watched_fraction: number } };

type Stamped = { interaction_id: string; event_time_ms: number } & Interaction;

export interface InteractionContext {
  profile_id: string;
  device_type: string;
  app_version: string;
}

export interface InteractionOptions {
  collectorUrl: string;
  context: InteractionContext;
  now: () => number;
  /** The collector has taken in these; the page may have changed. */
  onAccepted?: (interactions: Interaction[]) => void;
  onRefused?: (problem: string) => void;
  fetch?: typeof fetch;
}

export class InteractionReporter {
  private readonly outbox: Outbox<Stamped>;

  constructor(private readonly options: InteractionOptions) {
    this.outbox = new Outbox<Stamped>({
      url: `${options.collectorUrl}/v1/interactions`,
      envelope: (interactions) => ({ context: options.context, sent_at_ms: options.now(), interactions }),
      onSettled: (things, outcome) => {
        if (outcome.accepted > 0) options.onAccepted?.(things);
        else options.onRefused?.(outcome.problem || `the collector answered ${outcome.status}`);
      },
      ...(options.fetch ? { fetch: options.fetch } : {}),
    });
    addEventListener('pagehide', () => this.outbox.farewell());
  }

  say(interaction: Interaction): void {
    this.outbox.add({ interaction_id: randomId(), event_time_ms: this.options.now(), ...interaction });
    // Impressions can wait for each other; what changes the page cannot.
    if (!('impression' in interaction)) this.outbox.flush();
  }
}
