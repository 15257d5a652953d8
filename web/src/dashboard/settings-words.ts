/**
 * Meanings of the daemon's keys, in the languages that it does not speak; the English words are the daemon's own
 * (`GET /v1/config`), and stand for a key that is not known here.
 */

export const ABOUT: Readonly<Record<string, { de: string; zh: string }>> = {
  device_name: { de: "wie dieses Gerät sich nennt", zh: "此设备的名称" },
  port: { de: "UDP- und TCP-Port, 0 für einen beliebigen", zh: "UDP 和 TCP 端口，0 表示任意" },
  quic: { de: "den Träger QUIC verwenden", zh: "使用 QUIC 传输" },
  tcp: { de: "den Träger TCP für große Datenmengen verwenden", zh: "大量数据使用 TCP 传输" },
  discovery: { de: "Geräte im lokalen Netz finden", zh: "在本地网络中发现设备" },
  interfaces: { de: "nur diese Netzwerkschnittstellen", zh: "仅使用这些网络接口" },
  ignore_interfaces: { de: "alle Netzwerkschnittstellen außer diesen", zh: "使用除这些以外的所有网络接口" },
  "nearby.visible": { de: "wer in diesem Netz dieses Gerät sieht", zh: "此网络中谁能看到此设备" },
  "asks.folders": { de: "wo gesucht wird, worum andere bitten", zh: "在哪里查找他人请求的内容" },
  "asks.notify": { de: "Anfragen auf dem Desktop zeigen", zh: "在桌面显示收到的请求" },
  "asks.location": { de: "wo dieses Gerät ist, wenn sich das nie ändert", zh: "此设备的位置（如果从不改变）" },
  "asks.commands": { de: "Programme, die Anfragen beantworten", zh: "用于回应请求的程序" },
  "giving.notify": { de: "auf dem Desktop zeigen, wer eine Freigabe ganz hat", zh: "在桌面显示谁已获得完整的分享" },
  "receive.folder": { de: "wo ankommt, was andere senden", zh: "他人发送内容的存放位置" },
  "receive.own": { de: "ob von selbst ankommt, was eigene Geräte senden", zh: "自己设备发送的内容是否自动接收" },
  "receive.known": { de: "ob von selbst ankommt, was Geräte anderer senden", zh: "他人设备发送的内容是否自动接收" },
  "receive.max": { de: "die größte Freigabe, die von selbst ankommt", zh: "自动接收的最大分享" },
  "receive.notify": { de: "auf dem Desktop zeigen, was auf eine Antwort wartet", zh: "在桌面显示等待答复的内容" },
  "receive.hook": { de: "ein Programm, das läuft, nachdem etwas angekommen ist", zh: "收到内容后运行的程序" },
  "page.port": { de: "TCP-Port der Seiten für Browser in diesem Netz", zh: "供此网络中浏览器使用的页面的 TCP 端口" },
  wait: { de: "wie lange beim Holen nach einem Gerät gesucht wird, das es hat", zh: "获取时查找持有者的时长" },
  "code.expires": { de: "wie lange ein Code aus drei Wörtern gilt", zh: "三词代码的有效时长" },
  "upload.enabled": { de: "Geteiltes zu einem Speicher hochladen", zh: "将分享的内容上传到存储" },
  "upload.min_size": { de: "keine kleineren Freigaben hochladen", zh: "不上传更小的分享" },
  "upload.max_size": { de: "keine größeren Freigaben hochladen", zh: "不上传更大的分享" },
  "upload.never_on": { de: "Schnittstellen und Netze, über die nicht hochgeladen wird", zh: "不用于上传的接口和网络" },
  "upload.metered": { de: "auch über eine Verbindung hochladen, die nach Menge kostet", zh: "按流量计费的连接也上传" },
  "index.announce": { de: "Relays dieses Gerät als Quelle nennen lassen", zh: "允许中继将此设备列为持有者" },
  "limits.upload": { de: "wie viele Bytes pro Sekunde höchstens gesendet werden", zh: "每秒最多发送的字节数" },
  "limits.download": { de: "wie viele Bytes pro Sekunde höchstens empfangen werden", zh: "每秒最多接收的字节数" },
  "limits.lan": { de: "auch das lokale Netz begrenzen", zh: "本地网络也限速" },
  "limits.devices": { de: "Grenzen für einzelne Geräte", zh: "单个设备的限速" },
  "limits.schedule": { de: "andere Grenzen zu bestimmten Zeiten", zh: "特定时间的其他限速" },
  "network.metered": { de: "ob die Verbindung nach Menge kostet", zh: "连接是否按流量计费" },
  "battery.low": { de: "unter welcher Ladung dieses Gerät nur zögernd gibt", zh: "电量低于多少时减少提供" },
  "cost.mode": { de: "wie bereitwillig Quellen genutzt werden, die etwas kosten", zh: "使用付费来源的意愿" },
  "cost.currency": { de: "die Währung der Preise", zh: "价格所用的货币" },
  "cost.store": { de: "Preis eines GiB aus einem Speicher", zh: "来自存储的每 GiB 价格" },
  "cost.relayed": { de: "Preis eines GiB von einem Gerät über ein Relay", zh: "经中继来自设备的每 GiB 价格" },
  "cost.metered": { de: "Preis eines GiB über eine Verbindung, die nach Menge kostet", zh: "按流量计费连接的每 GiB 价格" },
  "follow.trash_keep": { de: "wie lange der Papierkorb dessen bleibt, was verfolgt wird", zh: "跟随内容的回收站保留时长" },
  "follow.trash_max": { de: "wie viele Bytes der Papierkorb dessen höchstens hat, was verfolgt wird", zh: "跟随内容的回收站最大字节数" },
  "storage.engine": { de: "was die Metadaten auf der Platte hält", zh: "磁盘元数据的存储引擎" },
  log: { de: "was protokolliert wird", zh: "日志级别" },
};

/** Values of keys that have only a few. */
export const CHOICES: Readonly<Record<string, readonly string[]>> = {
  "nearby.visible": ["everybody", "known", "nobody"],
  "receive.own": ["always", "ask", "never"],
  "receive.known": ["always", "ask", "never"],
  "network.metered": ["auto", "yes", "no"],
  "cost.mode": ["saver", "balanced", "fast"],
};

/** Parts of the settings in their order. */
export const AREAS = ["device", "network", "receive", "asks", "share", "limits", "cost", "other"] as const;
export type Area = (typeof AREAS)[number];

const OF: readonly (readonly [RegExp, Area])[] = [
  [/^(device_name|nearby\.)/, "device"],
  [/^(port|quic|tcp|discovery|interfaces|ignore_interfaces|network\.|battery\.)/, "network"],
  [/^(receive|follow)\./, "receive"],
  [/^asks\./, "asks"],
  [/^(upload|giving|index|code|page)\./, "share"],
  [/^limits\./, "limits"],
  [/^cost\./, "cost"],
];

export function area_of(key: string): Area {
  return OF.find(([pattern]) => pattern.test(key))?.[1] ?? "other";
}
