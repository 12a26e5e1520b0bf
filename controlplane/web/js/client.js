//! The parts that live as long as the page: the gateway and the call, wired to each other and to
//! the state. The views import them from here.

import { state, changed } from "./store.js";
import { accessToken } from "./api.js";
import { Gateway } from "./gateway.js";
import { Call } from "./voice/call.js";
import * as events from "./events.js";
import * as presence from "./presence.js";
import { toast } from "./ui/toasts.js";

/** The WebSocket. */
export const gateway = new Gateway({
  token: accessToken,
  positions: events.positions,
  onEvent: (event, data, position) => {
    const lost = event === "guild.removed" ? state.guilds.get(data.guild_id) : null;
    events.apply(event, data, call, position);
    if (lost) toast(`You are no longer in ${lost.name}.`, "info");
  },
  onStatus: (status) => {
    state.gateway = status;
    changed("gateway");
    call.onGateway(status);
  },
});

/** One's own call. */
export const call = new Call(gateway, (message, kind = "error") => toast(message, kind));

presence.follow(gateway);
