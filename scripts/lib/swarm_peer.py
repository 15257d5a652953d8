"""One BitTorrent peer on libtorrent (PyPI), for scripts/swarm-bench: python3 swarm_peer.py TORRENT FOLDER ADDRESS seed|fetch.

Prints "done" when everything is there, and goes on giving until it is ended.
"""
import sys
import libtorrent as lt

torrent, folder, address, role = sys.argv[1:]
session = lt.session({
    "listen_interfaces": f"{address}:6881", "enable_dht": False, "enable_lsd": False, "enable_upnp": False,
    "enable_natpmp": False, "enable_outgoing_utp": False, "enable_incoming_utp": False,
    "alert_mask": lt.alert.category_t.status_notification | lt.alert.category_t.error_notification,
})
params = lt.add_torrent_params()
params.ti, params.save_path = lt.torrent_info(torrent), folder
params.flags &= ~(lt.torrent_flags.auto_managed | lt.torrent_flags.paused)
if role == "seed":
    params.flags |= lt.torrent_flags.seed_mode
session.add_torrent(params)
if role == "seed":
    print("done", flush=True)
while True:
    session.wait_for_alert(200)
    for alert in session.pop_alerts():
        if isinstance(alert, lt.torrent_finished_alert) and role == "fetch":
            print("done", flush=True)
